//! The few lines of `unsafe` that the platform forces, each with its reason; everything else forbids it.

//! Settings: flags over the environment over defaults (SPEC.md section 3).

//! The tree that is there without a file: the seed's own, in the seed's own format.

/// The seed's tree, as Go's encoder writes its `IVRDefinition`.
pub const SAMPLE: &str = include_str!("../../tests/trees/seed.json");

/// What [`SAMPLE`] is called where a file's name would stand.
pub const SAMPLE_NAME: &str = "the built-in sample";

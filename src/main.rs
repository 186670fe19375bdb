//! sonomark.
fn main() {}

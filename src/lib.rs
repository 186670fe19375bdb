//! sonomark.

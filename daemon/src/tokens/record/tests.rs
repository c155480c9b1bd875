//! Tables of slot changes.

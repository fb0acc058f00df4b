//! The samples through the whole gateway, configured as an operator would.

//! Every cap and default in one place, with units.

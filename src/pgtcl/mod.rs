//! Pgtcl's commands, one file per family.

//! The way out: from a plan to the kernel's maps and programs.

pub mod object;

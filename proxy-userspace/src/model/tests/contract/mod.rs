//! The contract once more, told naively and without a look at the model, and the model held
//! against it over random histories.
//!
//! `reference` goes from objects to verdicts by the tables' words. `interpret` goes from map
//! contents to verdicts by the words of `sluice_common`, as a kernel program would. `agree` asks
//! both about every packet that could tell them apart, and `histories` asks it after every write.

mod agree;
mod histories;
mod interpret;
mod lists;
mod packet;
mod reference;
mod worlds;

//! What was decided before and is carried out now: pins, recipes, locks.

mod pins;

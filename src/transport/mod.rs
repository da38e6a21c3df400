//! Where bases come from: the names that a user gives them. Reading images (registry, OCI layout, archives, local
//! engines) comes here later; today a base is an entry of the catalog or a folder.

pub mod reference;

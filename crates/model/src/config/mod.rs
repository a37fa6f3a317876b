//! From a text to a checked [`ResourceSet`](crate::ResourceSet), with every problem found at once.

//! Each view, as scripts use it, and the same scripts without the view.

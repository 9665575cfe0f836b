//! Everything that is tested through the public surface: the library and the binary.

mod support {
    //! In-process servers and image builders.
}

//! The model against plain sentences about filesystems, and its content against a plain vector.

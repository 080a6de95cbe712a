//! The programs are the files beside this folder; this library is empty.

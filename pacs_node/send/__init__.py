"""C-STORE SCU: companions and any other DICOM files to a peer, with the truth about what became of each."""

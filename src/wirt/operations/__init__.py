"""What users can do, one verb a file: steps in order, each with its undo beside it; and the loops that compare
what is with what should be."""

"""From files on disk to cases on the network's grid: reading, preparing, and the stream of batches."""

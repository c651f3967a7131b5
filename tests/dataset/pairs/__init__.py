"""Making pairs of transcripts and documents."""

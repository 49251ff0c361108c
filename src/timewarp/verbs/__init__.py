"""What one can do with a peptide, or with a list of them: settings in, a result out; nothing is parsed or printed."""

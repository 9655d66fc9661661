"""The labs: their steps and exercises, faults to mend, pictures, and how they run without a person."""

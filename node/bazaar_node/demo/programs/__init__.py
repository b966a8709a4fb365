"""The programs of the demo's agents. They stand alone, as a stranger's program would."""

"""Online state of shoppers: events that reach the next answer, through Redis or in memory."""

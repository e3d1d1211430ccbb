"""Stage: raw events to encoded histories, training rows and the feature spec."""

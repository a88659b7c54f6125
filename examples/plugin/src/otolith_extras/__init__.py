"""An encoder and an objective for Otolith."""

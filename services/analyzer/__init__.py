"""The reference analysis server: how close a take comes to the reference voice."""

"""Conversations that may not be wanted as they are: policies, masks of personal data, the limit of tokens."""

"""The accounts service: sign-up, login, sessions, roles and deletion."""

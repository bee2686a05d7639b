"""Long operations as journaled jobs: written down before they act, undone or finished by whoever comes next."""

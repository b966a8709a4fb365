"""The commands of ``bazaar``, each imported only when it is called."""

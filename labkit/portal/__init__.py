"""The portal: Backstage, the plugins that act on the cluster as whoever signed in, and a client that signs in as a browser does."""

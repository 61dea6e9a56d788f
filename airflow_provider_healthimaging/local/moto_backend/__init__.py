"""A folder of moto services, put on ``moto.__path__`` by ``register()``; nothing imports it by this name."""

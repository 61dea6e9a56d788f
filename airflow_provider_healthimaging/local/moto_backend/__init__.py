"""A folder of moto services. ``register()`` adds it to ``moto.__path__``; nothing imports it by this name."""

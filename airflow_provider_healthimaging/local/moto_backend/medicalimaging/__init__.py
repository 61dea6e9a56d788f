"""AWS HealthImaging as a backend for moto. It has the form of moto's own backends, so that it can become one.

Always import it as ``moto.medicalimaging`` (see ``register()`` two folders up). If it were also imported under its
file path, there would be two copies of its state. It knows moto and botocore's model of the service. It does not
know Airflow, DICOM files or the server.
"""

from .models import medicalimaging_backends

__all__ = ["medicalimaging_backends"]

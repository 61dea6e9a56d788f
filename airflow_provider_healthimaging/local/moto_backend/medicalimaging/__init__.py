"""AWS HealthImaging for moto, in moto's own shape, so that it can move there unchanged.

It is only ever imported as ``moto.medicalimaging`` (see ``register()`` two folders up): imported under
its file path as well, there would be two copies of its state. It knows moto and botocore's model of the
service; it knows nothing of Airflow, of DICOM files or of how it is served.
"""

from .models import medicalimaging_backends

__all__ = ["medicalimaging_backends"]

"""Connect to the nodes of a cluster as one of them: with its certificate, and only to who proves to be of the cluster.

Called by engines.py and patroni.py, for the commands on the machine where the files lie.
"""

from __future__ import annotations

import ssl

from matinee.ops.layout import Tls


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that verifies the other side by address, and shows the node's certificate. Raises: OSError.

    The files are read each time: a renewed certificate counts at once.
    """
    context = ssl.create_default_context(cafile=str(tls.authorities))
    context.load_cert_chain(tls.certificate, tls.key)
    return context

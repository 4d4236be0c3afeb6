"""Log predictions and labels to Kedge from a serving process.

>>> from kedge_client import Client
>>> kedge = Client("http://127.0.0.1:8321", model="delays")
>>> event_id = kedge.log(features={"hour": 8, "origin": "JFK"}, score=0.37, domain="DL")
>>> kedge.label(event_id, 1)
>>> kedge.close()

`log` and `label` put a line into a bounded queue and return; a thread sends batches. Nothing here
raises into the code that serves: what could not be sent is counted in `Client.stats`.
"""

from kedge_client.client import Client
from kedge_client.releases import RefusedError, Releases
from kedge_client.stats import Stats

__all__ = ["Client", "RefusedError", "Releases", "Stats", "__version__"]
__version__ = "0.1.0"

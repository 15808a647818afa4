"""The vocabulary of skeleton labelling and the labelling loop: values, formats, doubt, routing, certificates.

Nothing here needs a GPU stack. Import what you use from its own file, such as
``from autolabel.manifest import Manifest``; ``model`` builds the network on top and ``pipelines`` the jobs.
"""

__version__ = "0.1.0"

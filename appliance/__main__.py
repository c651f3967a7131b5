"""`python -m appliance`: the same program as `anchorhold`."""

from appliance.cli import main

main()

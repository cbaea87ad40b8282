"""What people see of the running pipeline: the page of its metrics and its dashboards, both made from the catalogue."""

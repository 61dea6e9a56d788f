"""What keeps patient data out of sight: masked template fields, encrypted trigger arguments, the debug log filter."""

"""From results to estimates: `build.calibrate` turns a results document into a calibration."""

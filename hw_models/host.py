"""A device beside another host: the time in which operations are issued is the host's, not the card's."""

from dataclasses import replace
from math import log

from hw_models.analytic.roofline import INDEX
from hw_models.device import Device, DeviceError
from hw_models.measured.predictor import is_measured

STATED_SD = 0.1
"""Standard deviation of the log of a dispatch that is stated: 29 and 57 µs were seen on two hosts, so one is known."""


def with_host_dispatch(device: Device, seconds: float) -> Device:
    """The device on a host that takes this long to issue one operation, known to STATED_SD.

    What the published networks say of the dispatch no longer counts, its error is shared with no other parameter, and
    published readings, which were taken beside another host, are not looked up.
    Raises DeviceError for a device that was measured or calibrated on a machine, whose host is in its numbers.
    """
    if is_measured(device) or device.machine is not None:
        raise DeviceError(
            f"device {device.name} was measured on your machine, with its host; leave --host-dispatch-us out"
        )
    fit, at = device.latency, INDEX["dispatch"]
    theta, covariance = fit.theta.copy(), fit.covariance.copy()
    theta[at] = log(seconds)
    covariance[at, :] = covariance[:, at] = 0.0
    covariance[at, at] = STATED_SD**2
    return replace(device, latency=replace(fit, theta=theta, covariance=covariance), look_up=False)

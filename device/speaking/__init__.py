"""From chunks of a reply to the loudspeaker."""

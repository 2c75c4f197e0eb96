"""Every page about microscopes, movies and alarms; the editing pages are the elogbook's."""

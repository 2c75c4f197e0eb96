"""The site's directory of people and groups: an LDAP server, or a file."""

# Sourced by bin/up: writes the configuration of Dovecot 2.3 as a submission server in $RIG_DIR/dovecot.
#
# STARTTLS on $DC_SUBMISSION, TLS on $DC_SUBMISSIONS, everything on to the sink. Mailboxes whose name ends in -jwt take JWT
# access tokens, checked locally; all others opaque ones, checked by introspection. Both for one mailbox would turn an
# expired JWT into 454, since introspection of a JWT fails. Dovecot counts a client with the server's own address as
# secured: connect from 127.0.0.2 to see AUTH refused before STARTTLS.
conf=$RIG_DIR/dovecot
mkdir -p "$conf"/{run,state} "$conf/keys/default/RS256"
cp "$RIG_DIR/pki/as-rs256.pub" "$conf/keys/default/RS256/rig-rs256"
printf 'bob@rig.test:{PLAIN}bob-password\n' > "$conf/users"

cat > "$conf/jwt.conf" <<EOF
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$conf/keys/
issuers = https://localhost:$AS_HTTPS
username_attribute = email
scope = smtp.send
openid_configuration_url = https://localhost:$AS_HTTPS/.well-known/openid-configuration
EOF

cat > "$conf/introspect.conf" <<EOF
introspection_mode = post
introspection_url = https://mail-rs:$RIG_SECRET@localhost:$AS_HTTPS/token/introspection
force_introspection = yes
active_attribute = active
active_value = true
username_attribute = email
scope = smtp.send
openid_configuration_url = https://localhost:$AS_HTTPS/.well-known/openid-configuration
tls_ca_cert_file = $RIG_DIR/pki/ca.pem
timeout_msecs = 5000
EOF

cat > "$conf/dovecot.conf" <<EOF
base_dir = $conf/run
state_dir = $conf/state
log_path = $RIG_DIR/log/dovecot.log
log_timestamp = "%Y-%m-%d %H:%M:%S "
auth_verbose = yes
default_internal_user = $peer_user
default_internal_group = $peer_group
default_login_user = $peer_user
default_vsz_limit = 0
instance_name = rig
listen = 127.0.0.1
protocols = submission
hostname = localhost
mail_location = maildir:~/Maildir
first_valid_uid = 0

ssl = required
ssl_cert = <$RIG_DIR/pki/server.pem
ssl_key = <$RIG_DIR/pki/server.key
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = yes

auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
auth_cache_size = 0
passdb {
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN username_format=%u $conf/users
}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  username_filter = *-jwt@rig.test
  args = $conf/jwt.conf
}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  username_filter = !*-jwt@rig.test
  args = $conf/introspect.conf
}
userdb {
  driver = static
  args = uid=$peer_user gid=$peer_group home=$conf/home/%Lu allow_all_users=yes
}

# The 4xx and 5xx of the sink go through to the client.
submission_relay_host = 127.0.0.1
submission_relay_port = $SINK_SMTP
submission_relay_ssl = no
submission_max_mail_size = 26214400
submission_backend_capabilities = 8BITMIME SIZE DSN ENHANCEDSTATUSCODES

service submission-login {
  chroot =
  inet_listener submission {
    port = $DC_SUBMISSION
  }
  inet_listener submissions {
    port = $DC_SUBMISSIONS
    ssl = yes
  }
}
service auth {
  chroot =
}
service anvil {
  chroot =
  # no growing delay (up to 15 s) after failed logins from one address
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
EOF

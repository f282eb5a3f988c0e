/** The faults that `pollywog check` finds, and the lines of proxies' configurations that repair them. */

export type Fault =
  | 'backend'
  | 'buffering'
  | 'certificate'
  | 'host'
  | 'http10'
  | 'path'
  | 'silence'
  | 'upgrade';

/** Lines of a configuration, or what to remove from it. */
export type Fix = Readonly<Record<'nginx' | 'Apache' | 'HAProxy' | 'Caddy', string>>;

const upgrade: Fix = {
  nginx:
    'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";',
  Apache: 'ProxyPass / http://127.0.0.1:8080/ upgrade=websocket',
  HAProxy: 'remove "option httpclose" and "http-request del-header Upgrade"',
  Caddy: 'reverse_proxy 127.0.0.1:8080',
};

const silence: Fix = {
  nginx: 'proxy_read_timeout 75s; proxy_send_timeout 75s;',
  Apache: 'ProxyTimeout 75',
  HAProxy: 'timeout client 75s\ntimeout server 75s\ntimeout tunnel 1h',
  Caddy: 'remove read_timeout and write_timeout from the transport of reverse_proxy',
};

export const fixes: Readonly<Record<Fault, Fix>> = {
  upgrade,
  http10: upgrade,
  silence,
  buffering: {
    nginx: 'proxy_buffering off; proxy_cache off; gzip off;',
    Apache: 'ProxyPass / http://127.0.0.1:8080/ upgrade=websocket flushpackets=on',
    HAProxy: 'remove "compression" and "option http-buffer-request"',
    Caddy: 'reverse_proxy 127.0.0.1:8080 { flush_interval -1 }',
  },
  backend: {
    nginx: 'proxy_pass http://127.0.0.1:8080;',
    Apache: 'ProxyPass / http://127.0.0.1:8080/ upgrade=websocket',
    HAProxy: 'server pond 127.0.0.1:8080',
    Caddy: 'reverse_proxy 127.0.0.1:8080',
  },
  path: {
    nginx: 'location /chat/ { proxy_pass http://127.0.0.1:8080/; }  # both end with a slash',
    Apache: 'ProxyPass /chat/ http://127.0.0.1:8080/ upgrade=websocket',
    HAProxy: 'http-request replace-path /chat(/.*)? \\1',
    Caddy: 'handle_path /chat/* { reverse_proxy 127.0.0.1:8080 }',
  },
  host: {
    nginx: 'proxy_set_header Host $http_host;',
    Apache: 'ProxyPreserveHost On',
    HAProxy: 'remove "http-request set-header Host"',
    Caddy: 'remove header_up Host',
  },
  certificate: {
    nginx: 'ssl_certificate fullchain.pem; ssl_certificate_key privkey.pem;',
    Apache: 'SSLCertificateFile fullchain.pem\nSSLCertificateKeyFile privkey.pem',
    HAProxy: 'bind :443 ssl crt both.pem',
    Caddy: 'begin the site with its name: example.com { … }',
  },
};

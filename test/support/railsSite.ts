/** A small Rails site with a database, on Puma. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { writeFiles } from '../manual/examples.ts';
import type { Hooks } from './serverProcess.ts';

/** The parts of the site that every Rails site has. Requests to `/login` and `/change` take the place of its other pages. */
const site = {
  'config.ru': `
require 'active_record/railtie'
require 'action_controller/railtie'
require 'jwt'

class Shop < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.consider_all_requests_local = true
  config.secret_key_base = 'a' * 64
  config.session_store :cookie_store, key: '_shop_session'
  config.public_file_server.enabled = true
  config.logger = Logger.new(File.join(__dir__, 'log'))
  config.hosts.clear
  settings = File.join(__dir__, 'production.rb')
  class_eval(File.read(settings)) if File.exist?(settings)
end
Shop.initialize!
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define { create_table(:orders) { |t| t.integer :user_id; t.string :state } }
[17, 17, 18].each { |user| Order.create!(user_id: user, state: 'new') }
run Shop
`,
  'config/database.yml': 'development: { adapter: sqlite3, database: shop.sqlite3 }\n',
  'config/routes.rb': `
Rails.application.routes.draw do
  get '/live', to: 'live#show'
  get '/live_token', to: 'live_tokens#show'
  get '/orders', to: 'orders#index'
  get '/login', to: 'orders#login'
  post '/change', to: 'orders#change'
end
`,
  'app/models/application_record.rb': `
class ApplicationRecord < ActiveRecord::Base
  self.abstract_class = true
end
`,
  'app/controllers/application_controller.rb': `
class ApplicationController < ActionController::Base
end
`,
  'app/controllers/orders_controller.rb': `
class OrdersController < ApplicationController
  def index = @orders = Order.where(user_id: session[:user])

  def login
    session[:user] = params[:user].to_i
    head :ok
  end

  def change
    Order.find(params[:order]).update!(state: params[:state])
    head :ok
  end
end
`,
  'app/views/layouts/application.html.erb': `
<!doctype html>
<meta charset="utf-8">
<script type="module" src="/turbo.js"></script>
<%= yield %>
`,
};

/**
 * Starts the site in this folder, with a database of three orders: 1 and 2 of user 17, 3 of user 18. `GET /login?user=N` signs in,
 * `POST /change?order=N&state=WORD` changes an order.
 * @param files more files of the site, by path
 * @returns its port
 */
export async function startRails(
  test: Hooks,
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<number> {
  writeFiles(folder, { ...site, ...files });
  mkdirSync(join(folder, 'public'));
  const turbo = dirname(createRequire(import.meta.url).resolve('@hotwired/turbo/package.json'));
  copyFileSync(join(turbo, 'dist/turbo.es2017-esm.js'), join(folder, 'public/turbo.js'));
  // Debian's Ruby: its packages are Rails.
  const child = spawn('/usr/bin/puma', ['--quiet', '-b', 'tcp://127.0.0.1:0', '-t', '1:4', 'config.ru'], {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', RAILS_ENV: 'development', HOME: folder, LANG: 'C.UTF-8' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const gone = once(child, 'close');
  test.after(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      said += text;
    });
  }
  for (;;) {
    const port = /Listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1];
    if (port !== undefined) return Number(port);
    if (child.exitCode !== null) throw new Error(`Rails ended: ${said}`);
    await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data'), gone]);
  }
}

//! The doors of the local cloud: no web page gets in, no stranger, nobody by a bare number; and
//! what of it is open to others on the machine.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crosspilot_core::aws::s3;
use crosspilot_core::aws::s3::config::Credentials;
use crosspilot_core::aws::s3::config::SharedCredentialsProvider;
use crosspilot_core::aws::sagemaker::error::ProvideErrorMetadata;
use crosspilot_core::aws::{cloudformation, sagemaker, sts};
use crosspilot_local::LocalCloud;
use crosspilot_local::accounts::{CUSTOMER_ACCOUNT, SAAS_ACCOUNT};
use crosspilot_tests::data::request;
use crosspilot_tests::{Customer, churn, home, home_of, on_local_cloud, present};
use serde_json::{Value, json};

use crate::command_line::{crosspilot, link_emulator};
use crate::trust::make_stack;

/// Makes a request that a page may send without asking first: a credential in the query, and a
/// body that calls itself plain text.
fn forged(url: &str, key: &str, service: &str) -> reqwest::RequestBuilder {
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={key}/20260101/us-east-1/{service}/aws4_request\
         &X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
    );
    crosspilot_tests::http().post(format!("{url}?{query}")).header("content-type", "text/plain")
}

/// The administrator of an account, through the emulator's door for whoever holds
/// the token.
async fn as_holder(cloud: &LocalCloud, account: &str, service: &str, body: String) -> String {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=none"
    );
    let answer = crosspilot_tests::http()
        .post(&cloud.endpoints().default)
        .header("x-crosspilot-token", cloud.running().token)
        .header("authorization", authorization)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = answer.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.text().await.unwrap()
}

async fn refused(request: reqwest::RequestBuilder, what: &str) {
    let answer = request.send().await.unwrap();
    let readable = answer.headers().contains_key("access-control-allow-origin");
    let status = answer.status().as_u16();
    assert!(status == 403 && !readable, "{what}: {status} {}", answer.text().await.unwrap());
}

#[test]
fn no_web_page_gets_anything_from_any_port() {
    on_local_cloud(async |cloud| {
        let endpoints = cloud.endpoints();
        let client = crosspilot_tests::http();
        let function = json!({"FunctionName": "pwned", "Runtime": "python3.11", "Role": "r",
            "Handler": "x.y", "Code": {"ZipFile": ""}});
        let url = format!("{}/2015-03-31/functions", endpoints.default);
        for key in [SAAS_ACCOUNT, "test"] {
            let plain = || forged(&url, key, "lambda").body(function.to_string());
            refused(plain(), "without a page").await;
            refused(plain().header("origin", "http://evil.example.com"), "from a page").await;
            refused(plain().header("host", "evil.example.com:6000"), "by a rebound name").await;
        }
        for port in [&endpoints.default, &endpoints.sagemaker, cloud.signer().issuer()] {
            let path = if port == cloud.signer().issuer() {
                format!("{port}/.well-known/jwks.json")
            } else {
                format!("{port}/_ministack/health")
            };
            let get = || client.get(&path);
            for (header, value) in [
                ("host", "evil.example.com"),
                ("host", "localhost.evil.example.com:6000"),
                ("origin", "null"),
                ("origin", "http://localhost"),
                ("sec-fetch-site", "cross-site"),
            ] {
                refused(get().header(header, value), &format!("{path} {header}: {value}")).await;
            }
            let preflight = client.request(reqwest::Method::OPTIONS, &path);
            let preflight = preflight.header("origin", "http://evil.example.com");
            refused(preflight.header("access-control-request-method", "POST"), &path).await;
        }
        // Neither is a page's origin what the prediction API asks for.
        let api = format!("{}/v1/models/churn/predictions", endpoints.api);
        refused(client.post(&api).header("origin", "http://evil.example.com"), &api).await;
        assert_eq!(client.post(&api).send().await.unwrap().status(), 401);
    });
}

#[test]
fn management_needs_the_token() {
    on_local_cloud(async |cloud| {
        let client = crosspilot_tests::http();
        let url = &cloud.endpoints().default;
        for path in [
            "/_ministack/reset",
            "/_ministack/config",
            "/_ministack/sqs/messages",
            "/_ministack/lambda-code/111111111111/us-east-1/crosspilot-assume",
            "/_ministack/ready",
            "/_aws/lambda-url/x/",
            "/_localstack/health",
            "/_crosspilot/issued-secrets",
            "/_crosspilot/expire-sessions",
            "/",
            "/a-bucket/an-object",
        ] {
            refused(client.get(format!("{url}{path}")), path).await;
            refused(client.post(format!("{url}{path}")).body("{}"), path).await;
            let wrong = client.post(format!("{url}{path}")).header("x-crosspilot-token", "another");
            refused(wrong, path).await;
            let other_host = client.post(format!("{url}{path}"));
            let port = url.rsplit(':').next().unwrap();
            refused(
                other_host.header("host", format!("abcd1234.execute-api.evil.com:{port}")),
                path,
            )
            .await;
        }
        assert_eq!(
            client.get(format!("{url}/_ministack/health")).send().await.unwrap().status(),
            200
        );
    });
}

#[test]
fn only_an_administrators_own_secret_makes_a_root() {
    on_local_cloud(async |cloud| {
        let right = cloud.endpoints().administrators.key(SAAS_ACCOUNT);
        let config = cloud.endpoints().administrator(SAAS_ACCOUNT);
        let caller = sts::Client::new(&config).get_caller_identity().send().await.unwrap();
        assert_eq!(caller.arn(), Some(format!("arn:aws:iam::{SAAS_ACCOUNT}:root").as_str()));
        let other = cloud.endpoints().administrators.key(CUSTOMER_ACCOUNT);
        for (id, secret) in [
            (SAAS_ACCOUNT, "test"),
            ("test", "test"),
            (right.id.as_str(), "test"),
            (right.id.as_str(), other.secret.as_str()),
            // An id of the account that the local cloud did not make.
            ("AKIARTXV5AHDYMCDR542", right.secret.as_str()),
        ] {
            let keys = Credentials::new(id, secret, None, None, "test");
            let wrong = |url: &str| {
                let config = config.clone().into_builder().endpoint_url(url);
                config.credentials_provider(SharedCredentialsProvider::new(keys.clone())).build()
            };
            let here = wrong(&cloud.endpoints().default);
            let codes = [
                "InvalidClientTokenId",
                "SignatureDoesNotMatch",
                "InvalidAccessKeyId",
                "UnrecognizedClientException",
                "InvalidSignatureException",
            ];
            let error = sts::Client::new(&here).get_caller_identity().send().await.unwrap_err();
            assert!(codes.contains(&error.code().unwrap_or_default()), "{id} {error:?}");
            let error = s3::Client::new(&here).list_buckets().send().await.unwrap_err();
            assert!(codes.contains(&error.code().unwrap_or_default()), "{id} {error:?}");
            let there = wrong(&cloud.endpoints().sagemaker);
            let error = sagemaker::Client::new(&there).list_endpoints().send().await.unwrap_err();
            assert!(codes.contains(&error.code().unwrap_or_default()), "{id} {error:?}");
        }
    });
}

#[test]
fn an_api_lets_in_the_pages_that_its_cors_setting_names() {
    on_local_cloud(async |cloud| {
        let (client, url) = (crosspilot_tests::http(), &cloud.endpoints().default);
        let authorization = "AWS4-HMAC-SHA256 Credential=111111111111/20260101/us-east-1/apigateway/aws4_request, \
             SignedHeaders=host, Signature=none";
        let made = client.post(format!("{url}/v2/apis")).header("authorization", authorization);
        let made = made.header("x-crosspilot-token", cloud.running().token).json(&json!({
            "name": "with-pages", "protocolType": "HTTP",
            "corsConfiguration": {"allowOrigins": ["https://app.example.com"], "allowMethods": ["POST"]},
        }));
        let api: Value = made.send().await.unwrap().json().await.unwrap();
        let by_call = api["apiId"].as_str().unwrap().to_owned();
        let by_template = api_of_template(cloud, "with-pages", json!({})).await.unwrap();
        for id in [by_call, by_template] {
            let api = format!("{url}/_aws/execute-api/{id}/$default/x");
            let asks = |origin: &str| {
                let asks = client.request(reqwest::Method::OPTIONS, &api).header("origin", origin);
                asks.header("access-control-request-method", "POST")
                    .header("sec-fetch-site", "cross-site")
            };
            let answer = asks("https://app.example.com").send().await.unwrap();
            assert_eq!(answer.status(), 204);
            assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example.com");
            refused(asks("https://evil.example.com"), &api).await;
        }
    });
}

/// Deploys an API that admits pages of one origin, with these settings of its stage's routes.
/// Gives its id, or why it fails.
async fn api_of_template(
    cloud: &LocalCloud,
    stack: &str,
    settings: Value,
) -> Result<String, String> {
    let template = json!({
        "Resources": {
            "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {
                "Name": stack, "ProtocolType": "HTTP", "CorsConfiguration": {
                    "AllowOrigins": ["https://app.example.com"], "AllowMethods": ["POST"],
                },
            }},
            "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {
                "ApiId": {"Ref": "Api"}, "StageName": "$default", "RouteSettings": settings,
            }},
        },
        "Outputs": {"Id": {"Value": {"Ref": "Api"}}},
    });
    let account = cloud.endpoints().administrator(SAAS_ACCOUNT);
    make_stack(&account, stack, &template.to_string()).await?;
    let client = cloudformation::Client::new(&account);
    let found = client.describe_stacks().stack_name(stack).send().await.unwrap();
    Ok(found.stacks()[0].outputs()[0].output_value().unwrap().to_owned())
}

#[test]
fn a_stage_with_settings_of_a_route_that_is_not_there_is_refused() {
    on_local_cloud(async |cloud| {
        let settings = json!({"GET /x": {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 1}});
        let why = api_of_template(cloud, "no-such-route", settings).await.unwrap_err();
        assert!(why.contains("Unable to find Route by key GET /x"), "{why}");
    });
}

#[test]
fn a_service_principal_admits_no_accounts_root() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "no-root").await;
        let stranger = cloud.endpoints().administrator("444444444444");
        let tenant = cloud.endpoints().administrator(CUSTOMER_ACCOUNT);
        let mut seen = 0;
        for account in [SAAS_ACCOUNT, customer.tenant.account.as_str()] {
            let list = "Action=ListRoles&Version=2010-05-08&MaxItems=1000".to_owned();
            let roles = as_holder(cloud, account, "iam", list).await;
            for role in roles.split("<Arn>").skip(1).map(|rest| rest.split('<').next().unwrap()) {
                seen += 1;
                let role = role.parse().unwrap();
                for caller in [&stranger, &tenant] {
                    for id in [None, Some(&customer.tenant.external_id)] {
                        let refusal = present(caller, &role, id).await.unwrap_err();
                        assert_eq!(refusal.aws_code(), "AccessDenied", "{role} {refusal}");
                    }
                }
            }
        }
        assert!(seen > 10, "{seen} roles");
    });
}

/// Every process of the emulator's group, and this one.
fn processes(cloud: &LocalCloud) -> Vec<u32> {
    let directory = cloud.log().parent().unwrap().display().to_string();
    let all = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
    };
    let group = |process: u32| -> Option<u32> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        text.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
    };
    let emulator = all()
        .find(|process| {
            let line = std::fs::read_to_string(format!("/proc/{process}/cmdline"));
            line.is_ok_and(|line| line.contains(&format!("{directory}/launch.py")))
        })
        .unwrap();
    let mut found: Vec<u32> = all().filter(|process| group(*process) == Some(emulator)).collect();
    found.push(std::process::id());
    found
}

/// The addresses and ports on which processes listen, or take datagrams.
fn listeners(processes: &[u32]) -> Vec<(String, u16)> {
    let mut sockets = BTreeSet::new();
    for process in processes {
        let handles = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
        for handle in handles.flatten() {
            if let Ok(target) = std::fs::read_link(handle.path())
                && let Some(inode) = target.to_str().and_then(|text| text.strip_prefix("socket:["))
            {
                sockets.insert(inode.trim_end_matches(']').to_owned());
            }
        }
    }
    let mut found = Vec::new();
    for (table, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for fields in text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
            if fields[3] == state && sockets.contains(fields[9]) {
                let (address, port) = fields[1].split_once(':').unwrap();
                found.push((address.to_owned(), u16::from_str_radix(port, 16).unwrap()));
            }
        }
    }
    found
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_listens_beyond_the_loopback_and_a_functions_events_are_its_own() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "listeners").await;
        customer.give_training_data().await;
        let execution = customer.first_execution().await;
        customer.succeeded(&execution).await;
        let processes = processes(cloud);
        let found = listeners(&processes);
        assert!(processes.len() > 4 && found.len() > 6, "{processes:?} {found:?}");
        for (address, port) in &found {
            assert_eq!(address, "0100007F", "port {port}");
        }
        let port = |url: &str| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let own =
            [&cloud.endpoints().default, &cloud.endpoints().sagemaker, cloud.signer().issuer()]
                .map(port);
        let runtimes: Vec<u16> =
            found.iter().map(|(_, port)| *port).filter(|port| !own.contains(port)).collect();
        assert!(runtimes.len() >= 5, "{runtimes:?}");
        for port in runtimes {
            for path in
                ["2018-06-01/runtime/invocation/next", "guess/2018-06-01/runtime/invocation/next"]
            {
                let answer = reqwest::get(format!("http://127.0.0.1:{port}/{path}")).await;
                // A function that was let go meanwhile answers nothing.
                assert!(answer.is_err() || answer.unwrap().status() == 403, "{port} {path}");
            }
        }
        customer.succeeded(&customer.start("again").await).await;
    });
}

/// Whatever in a directory others may read; of links, what they are.
fn open_to_others(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
        if !about.is_symlink() && about.permissions().mode() & 0o077 != 0 {
            found.push(format!("{:o} {}", about.permissions().mode(), path.display()));
        } else if about.is_dir() {
            waiting
                .extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
    }
    found
}

#[test]
fn private_files_are_private() {
    on_local_cloud(async |cloud| {
        // All that a cloud writes lies in a directory that nobody else may enter.
        let own = cloud.log().parent().unwrap().to_owned();
        let home = home_of(cloud);
        for directory in [own, home.join("local"), home.join("aws")] {
            let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
        }
        for file in ["local/state.json", "aws/credentials", "aws/config"] {
            let mode = std::fs::metadata(home.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    });
    let home = home().join("private");
    let _ = std::fs::remove_dir_all(&home);
    link_emulator(&home);
    for arguments in [&["local", "up", "--detach", "--keep-state"][..], &["local", "down"]] {
        let output = crosspilot(&home).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let kept = home.join("kept");
    assert!(kept.join("emulator/iam.json").exists());
    let secret = |path: &String| !path.ends_with(".py") && !path.ends_with("/lock");
    let open: Vec<String> = open_to_others(&kept).into_iter().filter(secret).collect();
    assert_eq!(open, Vec::<String>::new());
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn a_token_is_judged_as_api_gateway_documents_it() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "odd-tokens").await;
        customer.put("crosspilot/churn/train/data.csv", churn(700, 1)).await;
        customer.succeeded(&customer.first_execution().await).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = r#"{"alg":"RS256","kid":"local"}"#;
        let issuer = cloud.signer().issuer();
        let claims = |more: &str| {
            format!(
                r#"{{"iss":"{issuer}","aud":"crosspilot","tenant":"{}"{more}}}"#,
                customer.tenant.tenant
            )
        };
        let good = format!(r#","exp":{}"#, now + 600);
        let ask = async |header: &str, claims: &str| {
            let token = cloud.signer().sign(header, claims).unwrap();
            customer.ask(&token, "churn", &request(1)).await
        };
        let (status, answer) = ask(header, &claims(&good)).await;
        assert_eq!(status, 200, "{answer}");
        let (status, answer) =
            ask(header, &claims(&format!(r#"{good},"iat":{}.5,"nbf":{now}"#, now - 1))).await;
        assert_eq!(status, 200, "{answer}");

        let digits = "9".repeat(400);
        let nested = format!(r#"{good},"deep":{}{}"#, "[".repeat(4000), "]".repeat(4000));
        let future = now + 600;
        for more in [
            "",
            &format!(r#","exp":"{future}""#),
            &format!(r#","exp":{digits}"#),
            r#","exp":null"#,
            r#","exp":true"#,
            r#","exp":1e400"#,
            r#","exp":NaN"#,
            &format!(r#","exp":[{future}]"#),
            &format!(r#","exp":{}"#, now - 5),
            &format!(r#"{good},"nbf":{future}"#),
            &format!(r#"{good},"nbf":null"#),
            &format!(r#"{good},"iat":{future}"#),
            &format!(r#"{good},"iat":"{now}""#),
            &nested,
        ] {
            let (status, answer) = ask(header, &claims(more)).await;
            assert_eq!(status, 401, "{:.80} {answer}", more);
        }
        for odd in ["[]", "null", "7", "{", "\"text\""] {
            assert_eq!(ask(header, odd).await.0, 401, "{odd}");
        }
        for odd in [
            r#"{"alg":"RS256","kid":"local","crit":["exp"]}"#,
            r#"{"alg":"HS256","kid":"local"}"#,
            r#"{"alg":"none","kid":"local"}"#,
            r#"{"kid":"local"}"#,
            r#"{"alg":"RS256","kid":["local"]}"#,
            r#"{"alg":"RS256"}"#,
            "[]",
        ] {
            assert_eq!(ask(odd, &claims(&good)).await.0, 401, "{odd}");
        }
        // API Gateway hands claims on as text: none of these becomes a tenant.
        for claim in ["true", "false", "null", "7", r#"["odd-tokens"]"#] {
            let claims =
                format!(r#"{{"iss":"{issuer}","aud":"crosspilot","tenant":{claim}{good}}}"#);
            assert_eq!(ask(header, &claims).await.0, 403, "{claim}");
        }
    });
}
